"""Object storage: URLs, listing, reading, writing, and bulk transfer by s5cmd."""
