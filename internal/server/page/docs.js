// Shows /openapi.json for people. Text only ever becomes text nodes, so nothing in the document can become markup.
"use strict";

const METHODS = ["get", "post", "patch", "put", "delete"];

/** Makes an element: el("a", {href: "#x"}, "text", other). Empty children are left out. */
function el(tag, attributes, ...children) {
	const e = document.createElement(tag);
	for (const [key, value] of Object.entries(attributes ?? {})) e.setAttribute(key, value);
	e.append(...children.flat().filter((c) => c !== undefined && c !== ""));
	return e;
}

/** The last part of a reference, as in "#/components/schemas/concentrator.v1.User". */
const refName = (ref) => ref.slice(ref.lastIndexOf("/") + 1);

/** A type's name without its package. */
const shortName = (name) => name.replace(/^concentrator\.v1\.|^google\.(rpc|protobuf|api)\./, "");

/** Follows a reference within the document. */
function resolve(doc, value) {
	if (!value?.$ref) return value;
	return value.$ref.slice(2).split("/").reduce((at, key) => at?.[key], doc);
}

/** What a schema holds, in a few words and links. */
function typeOf(schema) {
	if (!schema) return ["anything"];
	if (schema.$ref) return [el("a", { href: "#/type/" + refName(schema.$ref) }, shortName(refName(schema.$ref)))];
	if (schema.allOf?.length === 1) return typeOf(schema.allOf[0]);
	if (schema.anyOf) return schema.anyOf.flatMap((s, i) => (i ? [" or ", ...typeOf(s)] : typeOf(s)));
	if (schema.type === "array") return ["list of ", ...typeOf(schema.items)];
	if (schema.enum) return [schema.enum.join(", ")];
	if (schema.const !== undefined) return [String(schema.const)];
	if (schema.type === "object" && schema.additionalProperties?.type) return ["map to ", ...typeOf(schema.additionalProperties)];
	return [[schema.type ?? "anything", schema.format ? ` (${schema.format})` : ""].join("")];
}

/** Marks of a field beside its name. */
function marks(name, schema, required) {
	return [
		required?.includes(name) ? "required" : "",
		schema.readOnly ? "read only" : "",
		schema.writeOnly ? "write only" : "",
		schema.deprecated ? "deprecated" : "",
	].filter(Boolean);
}

/** A table of an object's fields. */
function fields(schema) {
	const rows = Object.entries(schema.properties ?? {}).map(([name, s]) =>
		el("tr", {},
			el("td", {}, el("code", {}, name), ...marks(name, s, schema.required).map((m) => el("div", { class: "note" }, m))),
			el("td", {}, ...typeOf(s)),
			el("td", {}, s.description ?? "")));
	return rows.length ? el("table", {}, el("tr", {}, ...["field", "type", "what"].map((h) => el("th", {}, h))), ...rows) : "";
}

/** What a body may hold, by content type. */
function content(doc, body) {
	return Object.entries(body?.content ?? {}).flatMap(([type, media]) => [
		el("p", {}, el("code", {}, type), media.schema ? [": ", ...typeOf(media.schema)] : ""),
		media.schema?.description ? el("p", { class: "note" }, media.schema.description) : "",
		media.schema && !media.schema.$ref ? fields(media.schema) : "",
		media.example !== undefined ? el("pre", {}, text(media.example)) : "",
		...Object.values(media.examples ?? {}).map((e) => el("pre", {}, text(resolve(doc, e).value))),
	]);
}

const text = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

/** A line for the shell that makes the call. */
function curl(doc, op) {
	const url = `https://HOST:8443${op.path.replace(/\{(\w+)\}/g, (_, name) => name.toUpperCase())}`;
	const example = op.requestBody?.content?.["application/json"]?.example;
	const query = (op.parameters ?? []).map((p) => resolve(doc, p)).filter((p) => p.in === "query" && p.required)
		.map((p) => `${p.name}=${p.example ?? p.name.toUpperCase()}`).join("&");
	return [
		"curl --cacert tls.crt -H \"Authorization: Bearer $TOKEN\"",
		op.method === "get" ? "" : `-X ${op.method.toUpperCase()}`,
		op.responses?.["200"]?.content?.["text/event-stream"] ? "-N -H 'Accept: text/event-stream'" : "",
		op.requestBody ? `--json '${JSON.stringify(example ?? {})}'` : "",
		`'${url}${query ? "?" + query : ""}'`,
	].filter(Boolean).join(" \\\n  ");
}

/** One call. */
function operation(doc, op) {
	const parameters = (op.parameters ?? []).map((p) => resolve(doc, p));
	return [
		el("h1", {}, op.operationId),
		el("p", { class: "path" }, el("span", { class: "method " + op.method }, op.method.toUpperCase()), " ", op.path),
		el("p", {}, op.summary ?? ""),
		...(op.description ?? "").split("\n\n").filter(Boolean).map((p) => el("p", {}, p)),
		parameters.length ? el("h2", {}, "Parameters") : "",
		parameters.length
			? el("table", {}, ...parameters.map((p) => el("tr", {},
				el("td", {}, el("code", {}, p.name), el("div", { class: "note" }, p.in + (p.required ? ", required" : ""))),
				el("td", {}, ...typeOf(p.schema)),
				el("td", {}, p.description ?? ""))))
			: "",
		op.requestBody ? el("h2", {}, "Body") : "",
		...content(doc, op.requestBody),
		...Object.entries(op.responses ?? {}).flatMap(([code, r]) => {
			const response = resolve(doc, r);
			return [el("h2", {}, code === "default" ? "Errors" : "Answer " + code), el("p", {}, response.description ?? ""), ...content(doc, response)];
		}),
		el("h2", {}, "Example"),
		el("pre", {}, curl(doc, op)),
	];
}

/** One type. */
function type(name, schema) {
	return [
		el("h1", {}, shortName(name)),
		el("p", {}, schema.description ?? ""),
		schema.enum ? el("ul", {}, ...schema.enum.map((v) => el("li", {}, el("code", {}, v)))) : fields(schema),
	];
}

/** All calls of the document with path and method, sorted by tag and path. */
function operations(doc) {
	return Object.entries(doc.paths).flatMap(([path, item]) =>
		METHODS.filter((m) => item[m]).map((method) => ({ path, method, ...item[method] })));
}

/** The first page. */
function overview(doc) {
	return [
		el("h1", {}, `${doc.info.title} API ${doc.info.version}`),
		...(doc.info.description ?? "").split("\n\n").map((p) => el("p", {}, p)),
		...(doc.tags ?? []).flatMap((t) => [el("h2", {}, t.name), el("p", {}, t.description ?? "")]),
	];
}

/** What the address bar asks for. */
function show(doc, hash) {
	const [, kind, name] = hash.split("/").map(decodeURIComponent);
	const op = kind === "call" ? operations(doc).find((o) => o.operationId === name) : undefined;
	if (op) return operation(doc, op);
	const schema = kind === "type" && Object.hasOwn(doc.components.schemas, name) ? doc.components.schemas[name] : undefined;
	return schema ? type(name, schema) : overview(doc);
}

/** The list at the side: what has all words of the query in its name, path or summary. */
function index(doc, query) {
	const words = query.toLowerCase().split(/\s+/).filter(Boolean);
	const fits = (s) => words.every((w) => s.toLowerCase().includes(w));
	const byTag = new Map();
	for (const op of operations(doc)) {
		if (!fits([op.operationId, op.path, op.summary, op.method].join(" "))) continue;
		const tag = op.tags?.[0] ?? "";
		byTag.set(tag, [...(byTag.get(tag) ?? []), op]);
	}
	const types = Object.keys(doc.components.schemas).filter(fits).sort();
	return [
		...[...byTag].flatMap(([tag, ops]) => [
			el("h2", {}, tag),
			el("ul", {}, ...ops.map((op) => el("li", {},
				el("a", { href: "#/call/" + op.operationId, title: op.path },
					el("span", { class: "method " + op.method }, op.method.toUpperCase()), " ", op.operationId)))),
		]),
		types.length ? el("h2", {}, "Types") : "",
		el("ul", {}, ...types.map((name) => el("li", {}, el("a", { href: "#/type/" + name }, shortName(name))))),
	];
}

async function main() {
	const [content, side, search] = ["content", "index", "search"].map((id) => document.getElementById(id));
	const response = await fetch("/openapi.json");
	if (!response.ok) throw new Error(`/openapi.json: ${response.status}`);
	const doc = await response.json();
	const fill = (e, children) => e.replaceChildren(...children.flat().filter((c) => c !== ""));
	const turn = () => {
		fill(content, show(doc, location.hash));
		window.scrollTo(0, 0);
	};
	const list = () => fill(side, index(doc, search.value));
	window.addEventListener("hashchange", turn);
	search.addEventListener("input", list);
	turn();
	list();
}

main().catch((err) => document.getElementById("content").replaceChildren(el("p", {}, String(err))));
