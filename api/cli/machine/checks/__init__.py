"""What `ballast doctor` looks at. Looks, and changes nothing: to try what is not there would be to make it."""
