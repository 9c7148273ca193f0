"""Plans as pictures: DOT, Mermaid, and a page of HTML that needs nothing else. Pure."""
