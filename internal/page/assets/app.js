// The page's script: it puts what the daemon sends in the place of what is
// there, and asks for another part when the user looks elsewhere.
import { fromHTML, morph } from './morph.js';
import { Live } from './live.js';
import { watchMaps } from './map.js';
import { agoAll } from './times.js';

const $ = (id) => document.getElementById(id);
document.documentElement.classList.add('js');

/** Puts one section's new content in place of the old. */
function show(id, html) {
  const section = $(id);
  if (!section) return;
  const next = fromHTML(html);
  agoAll(next);
  morph(section, next);
  if (id === 'health') verdict();
}

/** The verdict is in the tab's title and icon too. */
function verdict() {
  const v = document.querySelector('#health .verdict');
  if (!v) return;
  const self = document.querySelector('.brand .self');
  document.title = `${self ? `${self.textContent} · ` : ''}${v.dataset.headline} · dockstack`;
  icon(v.dataset.level);
}

function icon(name) {
  const link = $('icon');
  const now = link.getAttribute('href').replace(/\w+\.svg/, `${name}.svg`);
  if (now !== link.getAttribute('href')) link.setAttribute('href', now);
}

const live = new Live({
  section: show,
  fresh: (at, how) => {
    $('live').className = `reach ${how === 'stream' ? 'on' : 'slow'}`;
    $('live-text').textContent = how === 'stream' ? `live, ${at.toLocaleTimeString()}` : `asks every ${how} s, ${at.toLocaleTimeString()}`;
    $('lost').hidden = true;
    if (document.body.classList.replace('stale', 'was-stale')) {
      document.body.classList.remove('was-stale');
      $('said').textContent = 'The daemon is reached again.';
      verdict();
    }
  },
  lost: (since, next) => {
    const time = $('lost-since');
    time.dateTime = since.toISOString();
    time.textContent = since.toLocaleTimeString();
    $('lost-next').textContent = next > 0 ? `Trying again in ${next} s.` : 'Trying now.';
    if (!$('lost').hidden) return;
    $('lost').hidden = false;
    $('live').className = 'reach off';
    $('live-text').textContent = 'not reached';
    document.body.classList.add('stale');
    document.title = `not reached · dockstack`;
    icon('lost');
  },
});
$('lost-retry').addEventListener('click', () => live.now());

/* Searching and going elsewhere on the page. */

let asking = null;
let looked = location.search; // what the parts show
let restart = 0;

/** Shows a view: the address bar first, then the parts that differ in it. */
async function go(query, parts, how, hash = location.hash) {
  const url = (query ? `?${query}` : location.pathname) + hash;
  if (how === 'push') history.pushState(null, '', url);
  else history.replaceState(null, '', url);
  looked = location.search;
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  try {
    await Promise.all(parts.map(async (id) => {
      const answer = await fetch(`part/${id}${query ? `?${query}` : ''}`, { signal });
      if (answer.ok) show(id, await answer.text());
    }));
  } catch (e) {
    if (e.name !== 'AbortError') live.now();
  }
  clearTimeout(restart);
  restart = setTimeout(() => live.look(), 400);
}

/** A form's fields, in place of what the address had for them. */
function asked(form) {
  const q = new URLSearchParams(location.search);
  for (const [key, value] of new FormData(form)) {
    if (value.trim()) q.set(key, value);
    else q.delete(key);
  }
  if (form.dataset.form === 'names') q.delete('from');
  if (form.dataset.form === 'events') q.delete('events');
  return q.toString();
}

let typing = 0;
document.addEventListener('input', (e) => {
  const form = e.target.closest('form[data-form]');
  if (!form) return;
  clearTimeout(typing);
  typing = setTimeout(() => go(asked(form), [form.dataset.form]).then(() => tell(form)), e.target.matches('select') ? 0 : 160);
});
document.addEventListener('submit', (e) => {
  const form = e.target.closest('form[data-form]');
  if (!form) return;
  e.preventDefault();
  clearTimeout(typing);
  go(asked(form), [form.dataset.form]).then(() => tell(form));
});

/** Says the number of results to those who don't see it. */
function tell(form) {
  const count = form.closest('section')?.querySelector('.count')?.textContent.trim();
  $('said').textContent = count || 'nothing fits';
}

document.addEventListener('click', (e) => {
  const a = e.target.closest('main a[href]');
  if (!a || e.defaultPrevented || e.button || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
  const href = a.getAttribute('href');
  if (!/^(\?|\.\/#)/.test(href)) return;
  e.preventDefault();
  const [query, id] = href.replace(/^(\?|\.\/)/, '').split('#');
  fill(new URLSearchParams(query));
  go(query, [...new Set([id, a.closest('section').id])], 'push', `#${id}`).then(() => reveal(a, id));
});

/** Forms follow the address, also where the user typed into them before. */
function fill(q) {
  for (const field of document.querySelectorAll('form[data-form] [name]')) field.value = q.get(field.name) ?? '';
}

/** Scrolls to where a link leads, unless it is seen already. */
function reveal(a, id) {
  if (a.closest('section')?.id === id) {
    if (a.closest('.cards')) $('map')?.scrollIntoView({ block: 'nearest' });
    return;
  }
  const to = $(id);
  to?.scrollIntoView();
  const title = $(`${id}-title`);
  if (title) {
    title.tabIndex = -1;
    title.focus({ preventScroll: true });
  }
}

window.addEventListener('popstate', () => {
  if (location.search === looked) return; // to another section only
  fill(new URLSearchParams(location.search));
  go(location.search.slice(1), ['names', 'space', 'events']);
});

agoAll(document);
setInterval(() => agoAll(document), 10_000);
watchMaps($('tip'));
live.look();
