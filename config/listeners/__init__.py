"""The proxy itself: where clients and operators come in, what they may do there, and where state and logs are kept."""
