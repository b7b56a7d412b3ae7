"""A stand-in for the API that needs no cloud: the actions, a scripted timeline, faults."""
