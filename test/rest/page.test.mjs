// Runs the page /docs on build/openapi.json with as much of a browser as it needs: every call and every type is shown, and
// every link of the page leads to one of them.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { runInNewContext } from "node:vm";

/** An element: a tag, attributes and children. Only what the page uses is there: anything else would be an error. */
class Element {
	constructor(tag) {
		this.tag = tag;
		this.attributes = {};
		this.children = [];
		this.listeners = {};
	}
	setAttribute(key, value) {
		assert.equal(typeof value, "string", `attribute ${key} of ${this.tag}`);
		this.attributes[key] = value;
	}
	append(...children) {
		for (const c of children) assert.ok(c instanceof Element || typeof c === "string", `a child of ${this.tag} is ${JSON.stringify(c)}`);
		this.children.push(...children);
	}
	replaceChildren(...children) {
		this.children = [];
		this.append(...children);
	}
	addEventListener(event, fn) {
		this.listeners[event] = fn;
	}
	get text() {
		return this.children.map((c) => (typeof c === "string" ? c : c.text)).join(" ");
	}
	*all(tag) {
		if (this.tag === tag) yield this;
		for (const c of this.children) if (c instanceof Element) yield* c.all(tag);
	}
}

const doc = JSON.parse(readFileSync(new URL("build/openapi.json", import.meta.url), "utf8"));
const html = readFileSync(new URL("../../internal/server/page/docs.html", import.meta.url), "utf8");
const script = readFileSync(new URL("../../internal/server/page/docs.js", import.meta.url), "utf8");

const elements = Object.fromEntries([...html.matchAll(/id="(\w+)"/g)].map(([, id]) => [id, new Element(id)]));
elements.search.value = "";
const window = new Element("window");
window.scrollTo = () => {};
const location = { hash: "" };
const fetched = [];
runInNewContext(script, {
	window,
	location,
	console,
	decodeURIComponent,
	document: { createElement: (tag) => new Element(tag), getElementById: (id) => elements[id] },
	fetch: async (url) => {
		fetched.push(url);
		return { ok: true, json: async () => doc };
	},
});
await new Promise((resolve) => setTimeout(resolve, 50));

assert.deepEqual(fetched, ["/openapi.json"], "the page asks for one thing");
assert.match(elements.content.text, /Concentrator API v1/);

const links = [...elements.index.all("a")].map((a) => a.attributes.href);
const calls = Object.values(doc.paths).flatMap((item) => Object.values(item));
assert.equal(links.length, calls.length + Object.keys(doc.components.schemas).length, "one link for each call and type");
const known = new Set(links);
for (const href of links) {
	location.hash = href;
	window.listeners.hashchange();
	const [heading] = elements.content.all("h1");
	assert.ok(href.endsWith(heading.text) || href.endsWith("." + heading.text), `${href} shows ${heading.text}`);
	for (const a of elements.content.all("a")) assert.ok(known.has(a.attributes.href), `${href} leads to ${a.attributes.href}`);
	if (href === "#/call/CreateUser") {
		for (const part of ["/v1/tenants/{tenant}/users", "userId", "required", "curl", "--json", "Errors"]) {
			assert.ok(elements.content.text.includes(part), `${href} does not say ${part}`);
		}
	}
}

elements.search.value = "watch sess";
elements.search.listeners.input();
assert.deepEqual([...elements.index.all("a")].filter((a) => a.attributes.href.startsWith("#/call/")).map((a) => a.attributes.href), ["#/call/WatchSessions"]);

// Whatever stands in the address bar, there is a page.
for (const hash of ["#", "#/call/", "#/call/Nothing", "#/type/__proto__", "#//"]) {
	location.hash = hash;
	window.listeners.hashchange();
	assert.ok([...elements.content.all("h1")].length === 1, hash);
}
