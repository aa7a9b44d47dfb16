// What a map's cells and a picture's hosts are, for pointers, fingers and keys.

let tip;
let shown = null; // the cell whose tip is seen

/** Where a map has its first cell: below it are those that share its column. */
function columns(cells) {
  const y = cells[0]?.querySelector('rect').getAttribute('y');
  return cells.findIndex((c) => c.querySelector('rect').getAttribute('y') !== y);
}

function text(el) {
  return el.getAttribute('aria-label') ?? el.dataset.tip ?? '';
}

function put(el) {
  shown = el;
  const [first, ...more] = text(el).split(' · ');
  const head = document.createElement('b');
  head.textContent = first;
  tip.replaceChildren(head, more.join(' · '));
  tip.hidden = false;
  const at = el.getBoundingClientRect();
  const box = tip.getBoundingClientRect();
  const left = Math.min(Math.max(8, at.left + at.width / 2 - box.width / 2), document.documentElement.clientWidth - box.width - 8);
  const above = at.top - box.height - 8;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${above > 60 ? above : at.bottom + 8}px`;
}

function hide() {
  shown = null;
  tip.hidden = true;
}

const cellOf = (e) => e.target.closest?.('.map .c, .chart .host');

/** Begins to show tips, in the given element. */
export function watchMaps(element) {
  tip = element;
  for (const t of document.querySelectorAll('.chart title')) t.remove(); // ours are better
  document.addEventListener('pointerover', (e) => {
    const cell = cellOf(e);
    if (cell) put(cell);
    else if (shown && e.pointerType !== 'touch') hide();
  });
  document.addEventListener('focusin', (e) => { const c = cellOf(e); if (c?.matches(':focus-visible')) put(c); });
  document.addEventListener('focusout', (e) => { if (cellOf(e) === shown) hide(); });
  document.addEventListener('scroll', () => { if (shown) hide(); }, { passive: true });
  // A finger has no hovering: the first touch tells, the second one follows.
  let told = null;
  document.addEventListener('pointerdown', (e) => {
    const cell = cellOf(e);
    if (e.pointerType !== 'touch') { told = cell; return; }
    if (!cell) { told = null; hide(); }
  });
  document.addEventListener('click', (e) => {
    const cell = cellOf(e);
    if (!cell || e.detail === 0) return;
    if (cell !== told && matchMedia('(hover: none)').matches) {
      e.preventDefault();
      e.stopImmediatePropagation();
      told = cell;
      put(cell);
      return;
    }
    hide();
  }, true);
  document.addEventListener('keydown', move);
}

/** Arrow keys go from cell to cell; a map is one stop of the tab key. */
function move(e) {
  if (e.key === 'Escape' && shown) { hide(); return; }
  const cell = e.target.closest?.('.map .c');
  if (!cell || e.metaKey || e.ctrlKey || e.altKey) return;
  const cells = [...cell.closest('.map').querySelectorAll('.c')];
  const cols = columns(cells);
  const at = cells.indexOf(cell);
  const down = cols < 0 ? cells.length : cols;
  const row = at - (at % down);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + down, ArrowUp: at - down, Home: row, End: Math.min(row + down, cells.length) - 1 }[e.key];
  if (to === undefined) return;
  e.preventDefault();
  const next = cells[to];
  if (!next) return;
  cell.setAttribute('tabindex', '-1');
  next.setAttribute('tabindex', '0');
  next.focus();
}
