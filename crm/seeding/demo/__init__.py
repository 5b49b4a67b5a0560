"""Three businesses to look around in, told through the services as their people would."""
