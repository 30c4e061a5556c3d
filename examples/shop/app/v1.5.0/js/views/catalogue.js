// Everything on the shelves, with search and categories.
import { html, show, art, toast } from '../page.js';
import { categories, find, product } from '../products.js';
import { quantityOf, setQuantity } from '../state.js';
import { pounds } from '../totals.js';

const card = (p) => html`
  <li><article class="card" data-testid="product-${p.id}">
    <a href="#/product/${p.id}">${art(p.id, p.tint)}
      <span class="text"><span class="name">${p.name}</span><span class="unit">${p.unit}</span> <span class="price">${pounds(p.price)}</span></span></a>
    <button data-add="${p.id}" aria-label="Add ${p.name} to cart">Add</button>
  </article></li>`;

export function catalogue(root, { query }) {
  let words = query.get('q') || '';
  let category = query.get('in') || '';

  show(root, html`
    <h1>What's good today</h1>
    <p class="notice offer">New: discount codes. <strong>WELCOME10</strong> takes 10% off in your cart.</p>
    <label class="search"><span class="hint">Search the shop</span>
      <input type="search" placeholder="Bread, lemons, honey…" value="${words}" enterkeyhint="search"></label>
    <div class="chips" role="group" aria-label="Categories">${['', ...categories].map((c) => html`
      <button data-category="${c}">${c || 'All'}</button>`)}</div>
    <p class="count" role="status" data-testid="result-count"></p>
    <div id="results"></div>
    <p class="foot">Corner Shop <span data-testid="version">v1.5.0</span></p>`);

  function results() {
    const found = find(words, category);
    root.querySelector('.count').textContent = found.length === 1 ? '1 product' : `${found.length} products`;
    for (const chip of root.querySelectorAll('[data-category]')) {
      chip.setAttribute('aria-pressed', String(chip.dataset.category === category));
    }
    show(root.querySelector('#results'), found.length
      ? html`<ul class="grid" aria-label="Products">${found.map(card)}</ul>`
      : html`<div class="empty stack"><h2>Nothing found for “${words || category}”</h2><p>Try a shorter word, or look at everything.</p>
          <button data-clear>Show everything</button></div>`);
    // Kept in the address, so that Back from a product comes back to the same shelf.
    const kept = new URLSearchParams({ ...(words && { q: words }), ...(category && { in: category }) }).toString();
    history.replaceState(null, '', kept ? `#/?${kept}` : '#/');
  }

  root.querySelector('input').oninput = (event) => {
    words = event.target.value.trim();
    results();
  };
  root.querySelector('.chips').onclick = (event) => {
    const chip = event.target.closest('[data-category]');
    if (!chip) return;
    category = chip.dataset.category;
    results();
  };
  root.querySelector('#results').onclick = (event) => {
    const { add, clear } = event.target.dataset;
    if (add) {
      setQuantity(add, quantityOf(add) + 1);
      toast(`${product(add).name} added`);
    }
    if (clear !== undefined) {
      words = category = '';
      root.querySelector('input').value = '';
      results();
    }
  };
  results();
}
