"""Numbers and pictures about results: strips, curves, the HTML report."""
