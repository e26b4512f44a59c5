"""What a stage does that needs the networks of model/ and the data of pipeline/ together."""
