"""Long work in processes of its own that survive the browser and the server. Nothing here imports torch at import."""
