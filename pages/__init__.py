"""Streamlit pages: each reads widgets, calls `fvm_core`, draws. No torch here (tests/test_architecture.py holds it)."""
