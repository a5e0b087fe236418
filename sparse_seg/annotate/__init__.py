"""Points placed in a page of the browser, with the map that follows from them."""
