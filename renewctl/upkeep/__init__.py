"""A store over the years: copied, restored, brought to a newer schema."""
