// The TypeScript SDK's client over stdio: `node stdio_client.mjs COMMAND [ARGUMENT…]`.
// It initializes, lists and calls, and prints what it found as JSON.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";

const [command, ...args] = process.argv.slice(2);
const client = new Client({ name: "typescript-peer", version: "1.0.0" });
await client.connect(new StdioClientTransport({ command, args, stderr: "ignore" }));

const call = async (name, args) => {
  const result = await client.callTool({ name, arguments: args });
  return result.content[0].text;
};
const found = {
  server: client.getServerVersion().name,
  tools: (await client.listTools()).tools.map((tool) => tool.name),
  sum: await call("add", { a: 2, b: 3 }),
  echo: await call("echo", { message: "two\nlines, \u2028 and 日本" }),
  unknown: await call("nope", {}).catch((error) => error.code),
};
await client.close();
console.log(JSON.stringify(found));
