// The page: a connection, its conversation, and a form for each tool.

import { Connection } from "./connection.js";
import { Conversation } from "./conversation.js";
import { toolForm } from "./tool_form.js";

const byId = (id) => document.getElementById(id);
const conversation = new Conversation(byId("conversation"));
let connection = null;
let listed = null; // the tools that have a form now, as JSON

const watcher = {
  state(name, text) {
    byId("state").textContent = text;
    byId("state").dataset.state = name;
    byId("connect").textContent = name === "closed" ? "Connect" : "Close";
    byId("url").disabled = name !== "closed";
    // A tool can only be called in a session.
    byId("tools").disabled = name !== "ready";
    if (name === "closed") connection = null;
  },
  sent: (...what) => conversation.sent(...what),
  received: (...what) => conversation.received(...what),
  notice: (text) => conversation.notice(text),
  heartbeat: () => conversation.heartbeat(),
  // Once for each session. The server may be a different one now, with other tools.
  async ready() {
    const talking = connection;
    try {
      const { tools } = await talking.request("tools/list");
      // After a restart they are probably the same. Then keep what was typed.
      if (JSON.stringify(tools) === listed) return;
      listed = JSON.stringify(tools);
      const forms = tools.map((tool) => {
        const { name } = tool;
        return toolForm(tool, (given) => talking.request("tools/call", { name, arguments: given }));
      });
      byId("tool-forms").replaceChildren(...forms);
    } catch (error) {
      conversation.notice(`No list of tools. ${error.message}`);
    }
  },
};

byId("connection").addEventListener("submit", (event) => {
  event.preventDefault();
  if (connection !== null) {
    connection.close();
    return;
  }
  const url = byId("url").value.trim();
  if (!URL.canParse(url) || !/^https?:/.test(url)) {
    conversation.notice("That is not a URL. It should look like http://127.0.0.1:8000/sse");
    return;
  }
  byId("server-origin").textContent = new URL(url).origin;
  listed = null;
  connection = new Connection(url, watcher);
  connection.open();
});

byId("browser-origin").textContent = location.origin;
