// A small form made from a tool's input schema (JSON Schema), and the arguments typed into it.

let lastNumber = 0;

// What a field looks like. Schemas of optional arguments often say anyOf [string, null].
function kindOf(schema) {
  if (Array.isArray(schema.enum)) return "enum";
  const types = [schema.type ?? (schema.anyOf ?? []).map((each) => each.type)].flat();
  const kind = types.find((type) => type !== "null");
  return ["string", "number", "integer", "boolean"].includes(kind) ? kind : "json";
}

function makeInput(kind, schema) {
  if (kind === "enum") {
    const select = document.createElement("select");
    for (const value of schema.enum) select.add(new Option(String(value), JSON.stringify(value)));
    return select;
  }
  const input = document.createElement(kind === "json" ? "textarea" : "input");
  if (kind === "boolean") {
    input.type = "checkbox";
    input.checked = schema.default === true;
    return input;
  }
  input.autocomplete = "off";
  input.spellcheck = false;
  if (kind === "number" || kind === "integer") input.inputMode = "decimal";
  if (kind === "json") input.rows = 2;
  if (schema.default !== undefined && schema.default !== null) {
    input.value = kind === "string" ? schema.default : JSON.stringify(schema.default);
  }
  return input;
}

function valueOf(input, kind) {
  if (kind === "boolean") return input.checked;
  if (kind === "string") return input.value;
  if (kind === "enum" || kind === "json") return JSON.parse(input.value);
  // Anything but a number goes out as it was typed: the server says what is wrong with it.
  const number = Number(input.value);
  return Number.isFinite(number) ? number : input.value;
}

// The form for a tool. `call(arguments)` gives a promise of the result of tools/call.
export function toolForm(tool, call) {
  const form = document.createElement("form");
  form.dataset.tool = tool.name;
  form.noValidate = true;
  const title = document.createElement("h3");
  title.textContent = tool.name;
  const about = document.createElement("p");
  about.textContent = tool.description ?? "";
  form.append(title, about);

  const required = tool.inputSchema.required ?? [];
  const fields = [];
  for (const [name, schema] of Object.entries(tool.inputSchema.properties ?? {})) {
    const kind = kindOf(schema);
    const input = makeInput(kind, schema);
    lastNumber += 1;
    input.id = `field-${lastNumber}`;
    input.name = name;
    const label = document.createElement("label");
    label.htmlFor = input.id;
    label.textContent = name;
    const hint = document.createElement("small");
    const optional = !required.includes(name);
    hint.textContent = ` ${kind === "enum" ? "one of" : kind}${optional ? ", optional" : ""}`;
    label.append(hint);
    const field = document.createElement("div");
    field.className = kind === "boolean" ? "field check" : "field";
    field.append(label, input);
    if (schema.description) {
      const description = document.createElement("small");
      description.textContent = schema.description;
      field.append(description);
    }
    form.append(field);
    fields.push({ name, kind, input, optional });
  }

  const button = document.createElement("button");
  button.textContent = `Call ${tool.name}`;
  const output = document.createElement("output");
  form.append(button, output);

  function show(text, kind) {
    output.textContent = text;
    output.className = kind;
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const toolArguments = Object.create(null); // where even __proto__ is an ordinary name
    for (const { name, kind, input, optional } of fields) {
      // Nothing typed means not given, for all but a string that the tool wants.
      if (input.value === "" && (optional || kind !== "string")) continue;
      try {
        toolArguments[name] = valueOf(input, kind);
      } catch (error) {
        show(`${name} is not JSON: ${error.message}`, "bad");
        input.focus();
        return;
      }
    }
    show("waiting for the reply", "waits");
    try {
      const { content, isError } = await call(toolArguments);
      const texts = content.map((each) => each.text ?? `(${each.type})`);
      show(texts.join("\n"), isError ? "bad" : "good");
    } catch (error) {
      show(error.message, "bad");
    }
  });
  return form;
}
