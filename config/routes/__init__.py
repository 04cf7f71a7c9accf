"""What a route does with its requests, whichever version serves them, and who is asked and told about its rollouts."""
