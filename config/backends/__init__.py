"""How a backend is reached, balanced, pooled and watched."""
