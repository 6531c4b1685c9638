"""The tokens of the make-believe installation."""

READ = "looks-looks-looks"
OPERATE = "acts-acts-acts-acts"
