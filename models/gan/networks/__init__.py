"""Networks of generators and discriminators."""
