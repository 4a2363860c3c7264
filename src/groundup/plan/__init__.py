"""What a model of a size needs: its shape, its data, its hyperparameters."""
