"""Influential samples in text and image generation (sections 4.3 and 4.4 of the paper).

Importing it is cheap: torch, transformers, peft and diffusers are imported where they are used, and a missing one is an
error that names the pip command. Modules marked * import no torch. The way of the data:

data         `pairs`* what both sides share: prompts, targets, classes; `pair_file`* JSONL and Parquet; `sentences`*,
             `word_problems`* Tables 7 and 8 by a seed; `image_folder_pairs`*, `digit_styles`*, `digit_subjects`*
             images, `image_data`* all into the workspace; `plant_wrong`*
models       `task` what tuning and scoring ask of a model; `language_model`, `language_task`, `byte_tokenizer`,
             `pretrain` text; `diffusion_model`, `diffusion_task`, `small_unet`, `pretrain_diffusion` images; `lora`
             adapters; `kinds`* which module opens which kind; `store`* records; `register`* models made elsewhere;
             `identity`* which weights a folder holds; `libraries`*, `memory` errors in words
tuning       `settings`*, `diffusion_settings`*; `lora_tuning`, `tune_job` (job `gen_tune`): LoRA on training pairs,
             VM and FVM on validation pairs
influence    `lora_gradients` exact gradients of each pair; `pair_gradients` in pieces; `pair_scores` Eq. 20, Eq. 21,
             TracIn, DataInf; `score_job` (`gen_score`) all pairs; `ask_job` (`gen_ask`) one prompt
results      `score_store`* score files; `detection`* Eq. 23's AUC and recall; `table`* Tables 4 and 5; `answers` exact
             match; `example`* what is shipped in assets/generation
"""
