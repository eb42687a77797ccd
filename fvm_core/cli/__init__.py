"""`python -m fvm_core COMMAND`: everything the app can do, without the app."""
