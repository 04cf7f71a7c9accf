"""What a worker says: `notices` on standard error, and an `access_log` of requests, by way of a `log_file`."""
