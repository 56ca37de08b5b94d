"""Who decides which delivery is next, and when."""
