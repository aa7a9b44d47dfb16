// Times as people read them: how long ago; the whole time is in the title.

const steps = [['second', 60], ['minute', 60], ['hour', 24], ['day', 30], ['month', 12], ['year', Infinity]];
const words = new Intl.RelativeTimeFormat('en', { numeric: 'always', style: 'short' });

function ago(at, now) {
  let n = (at - now) / 1000;
  if (Math.abs(n) < 10) return 'just now';
  for (const [unit, size] of steps) {
    if (Math.abs(n) < size) return words.format(Math.round(n), unit);
    n /= size;
  }
  return '';
}

/** Writes all times in a tree anew. */
export function agoAll(root) {
  const now = Date.now();
  for (const t of root.querySelectorAll('time[datetime]')) {
    if (t.closest('#lost, #live')) continue;
    const at = new Date(t.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const text = ago(at.getTime(), now);
    if (t.textContent !== text) t.textContent = text;
    const title = `${at.toLocaleString()} (${at.toISOString()})`;
    if (t.title !== title) t.title = title;
  }
}
