"""The report: what there is to tell of clusters, and the page that shows it."""
