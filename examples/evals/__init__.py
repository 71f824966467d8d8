"""A help desk agent and its evaluation: rules, a tool, personal data, faithfulness to what the shop says of itself."""
