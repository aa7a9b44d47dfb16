// Changes one tree into another and leaves alone what is the same, so that
// focus, selections, open parts and what the user typed stay.

const trusted = globalThis.trustedTypes?.createPolicy('dockstack', { createHTML: (s) => s });

/** A tree of what the daemon wrote and escaped. */
export function fromHTML(html) {
  const doc = new DOMParser().parseFromString(trusted ? trusted.createHTML(html) : html, 'text/html');
  return doc.body;
}

/** Attributes that belong to the user or to scripts. */
function ours(el, name) {
  return (name === 'open' && el.localName === 'details') || (name === 'tabindex' && el.classList.contains('c'));
}

function attributes(from, to) {
  for (const { name, value } of [...to.attributes]) {
    if (from.getAttribute(name) !== value && !ours(from, name)) from.setAttribute(name, value);
  }
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !ours(from, name)) from.removeAttribute(name);
  }
}

const keyOf = (n) => (n.nodeType === Node.ELEMENT_NODE ? n.dataset?.key || n.id || '' : '');
const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

/** Gives a node the attributes and children of another; the other's are used up. */
export function morph(from, to) {
  const keyed = new Map();
  for (const n of from.children) if (keyOf(n)) keyed.set(keyOf(n), n);
  let at = from.firstChild;
  for (const next of [...to.childNodes]) {
    const key = keyOf(next);
    const old = key && keyed.get(key);
    if (old && old.nodeName === next.nodeName) {
      if (old === at) at = at.nextSibling;
      else from.insertBefore(old, at);
      keyed.delete(key);
      become(old, next);
    } else if (at && !key && alike(at, next)) {
      const same = at;
      at = at.nextSibling;
      become(same, next);
    } else {
      const added = document.importNode(next, true);
      if (key && from.matches('tbody, .events')) added.classList.add('fresh');
      from.insertBefore(added, at);
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function become(from, to) {
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return;
  }
  if (from.isEqualNode(to)) return;
  attributes(from, to);
  morph(from, to);
}
