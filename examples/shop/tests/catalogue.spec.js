const { test, expect } = require('@playwright/test');
const { openShop, addToCart } = require('./shop');

test.beforeEach(async ({ page }) => openShop(page));

test('shows every product with name, unit and price', async ({ page }) => {
  const cards = page.getByRole('list', { name: 'Products' }).getByRole('listitem');
  await expect(cards).toHaveCount(12);
  for (const card of await cards.all()) {
    await expect(card.getByRole('link')).toHaveText(/\S+.*£\d+\.\d\d/s);
  }
  await expect(page.getByTestId('product-bread')).toContainText('Sourdough loaf');
  await expect(page.getByTestId('product-bread')).toContainText('£3.95');
});

test('a category narrows the shelves, All widens them again', async ({ page }) => {
  const chips = page.getByRole('group', { name: 'Categories' });
  await chips.getByRole('button', { name: 'Bakery' }).click();
  await expect(page.getByTestId('result-count')).toHaveText('2 products');
  await expect(chips.getByRole('button', { name: 'Bakery' })).toHaveAttribute('aria-pressed', 'true');
  await expect(page.getByTestId('product-milk')).toHaveCount(0);
  await chips.getByRole('button', { name: 'All' }).click();
  await expect(page.getByTestId('result-count')).toHaveText('12 products');
});

test('adding from the shelf counts up the cart', async ({ page }) => {
  await expect(page.getByTestId('cart-count')).toBeHidden();
  await addToCart(page, 'Orchard apples', 'Orchard apples', 'Whole milk');
  await expect(page.getByTestId('cart-count')).toHaveText('3');
  await expect(page.locator('#toast')).toHaveText('Whole milk added');
});
