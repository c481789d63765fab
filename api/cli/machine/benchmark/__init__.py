"""What `ballast bench` measures, what that means, and where it is kept."""
