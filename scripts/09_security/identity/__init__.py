"""Who sends this? API keys, signed tokens, and OAuth with the MCP SDK."""
