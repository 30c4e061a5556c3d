// Which view is shown for which address, and the frame around it.
import { state, itemCount } from './state.js';
import { show, html } from './page.js';
import { welcome } from './views/welcome.js';
import { catalogue } from './views/catalogue.js';
import { productPage } from './views/product.js';
import { cart } from './views/cart.js';
import { checkout } from './views/checkout.js';
import { order } from './views/order.js';
import { account } from './views/account.js';

const main = document.getElementById('main');

const routes = [
  [/^\/$/, 'Shop', 'shop', catalogue],
  [/^\/product\/([a-z]+)$/, 'Product', 'shop', productPage],
  [/^\/cart$/, 'Cart', 'cart', cart],
  [/^\/checkout$/, 'Checkout', 'cart', checkout],
  [/^\/order\/(CS-\d+)$/, 'Order', 'account', order],
  [/^\/account$/, 'Account', 'account', account],
  [/^\/welcome$/, 'Welcome', '', welcome],
];

function missing(root) {
  show(root, html`<div class="empty stack"><h1>Nothing here</h1><p>This page is not in the shop.</p><a class="button main" href="#/">Back to the shop</a></div>`);
}

function render(event) {
  const [path, query] = (location.hash.slice(1) || '/').split('?');
  if (!path.startsWith('/')) return; // #main, the skip link
  if (!state.welcomed && path !== '/welcome') return location.replace('#/welcome');
  const [pattern, title, tab, view] = routes.find(([p]) => p.test(path)) || [/^/, 'Nothing here', '', missing];
  document.title = `${title} · Corner Shop`;
  document.body.classList.toggle('welcoming', view === welcome);
  for (const link of document.querySelectorAll('[data-tab]')) {
    if (link.dataset.tab === tab) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  main.onclick = null; // a handler of the view before must not hear this one's clicks
  view(main, { parts: path.match(pattern).slice(1), query: new URLSearchParams(query) });
  if (event) {
    main.focus();
    scrollTo(0, 0);
  }
}

function frame() {
  const badge = document.getElementById('badge');
  badge.textContent = itemCount();
  badge.hidden = itemCount() === 0;
  document.getElementById('hello').textContent = state.user ? `Hello, ${state.user.name}` : '';
}

function network() {
  document.getElementById('offline').hidden = navigator.onLine;
}

addEventListener('hashchange', render);
addEventListener('online', network);
addEventListener('offline', network);
document.addEventListener('shop:change', frame);
frame();
network();
render();
navigator.serviceWorker?.register('sw.js').catch(() => {}); // private windows refuse it; the shop works without
