"""One module a noun; each route is a few lines: read the request, one call into the store, answer."""
