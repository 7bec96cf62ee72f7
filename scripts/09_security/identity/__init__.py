"""Who sends this? API keys, signed tokens, and OAuth as the MCP SDK has it."""
