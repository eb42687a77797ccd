"""One HTML file about a review, for people who were not there."""
