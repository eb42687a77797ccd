"""FVM Studio's library: data, models, tuning, influence, review, jobs. No streamlit anywhere below this package.

Importing it is cheap: submodules that need torch are imported where they are used.
"""

__version__ = "0.1.0"
