"""From loss to tasks: what a model of a known loss can do, how sure, and where nothing is known."""
