"""The topics of a comparison: each turns a comparison into tables and sentences."""
