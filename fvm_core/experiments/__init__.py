"""The paper's tables and figures, run on any dataset and model of the workspace, and drawn beside the published ones.

`published` -> `tables` -> `presets` -> `plan` -> `run` -> `results` -> `render`. Only what does the work imports torch.
"""
