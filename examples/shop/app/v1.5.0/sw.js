// Keeps the whole shop on the phone, so that it opens without a network.
const CACHE = 'corner-shop-1.5.0';
const FILES = [
  './', 'style.css', 'art.svg', 'version.json', 'js/app.js', 'js/products.js', 'js/state.js', 'js/totals.js', 'js/page.js',
  'js/views/welcome.js', 'js/views/catalogue.js', 'js/views/product.js', 'js/views/cart.js',
  'js/views/checkout.js', 'js/views/order.js', 'js/views/account.js',
];

self.addEventListener('install', (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES)).then(() => self.skipWaiting()));
});

self.addEventListener('activate', (event) => {
  const old = (names) => Promise.all(names.filter((name) => name !== CACHE).map((name) => caches.delete(name)));
  event.waitUntil(caches.keys().then(old).then(() => self.clients.claim()));
});

// The network first: a new version of the shop must never be hidden behind an old copy.
self.addEventListener('fetch', (event) => {
  if (event.request.method !== 'GET') return;
  event.respondWith(
    fetch(event.request).catch(async () => (await caches.match(event.request, { ignoreSearch: true })) || Response.error()),
  );
});
