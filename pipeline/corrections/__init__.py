"""What a user said in the report: found again among the rows, and kept in the clusters."""
