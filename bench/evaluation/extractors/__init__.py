"""What sees samples: networks that turn images into features, and where their weights come from."""
