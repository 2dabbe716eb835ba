"""Results as pages of HTML: `pages` says what each shows, `page` holds the values, `rendering` makes the text."""
