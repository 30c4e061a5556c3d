const { test, expect } = require('@playwright/test');
const { openShop, addToCart, goTo } = require('./shop');

test.beforeEach(async ({ page }) => openShop(page));

test('adds up lines, delivery and total', async ({ page }) => {
  await addToCart(page, 'Sourdough loaf', 'Whole milk', 'Whole milk');
  await goTo(page, 'Cart');
  await expect(page.getByTestId('line-milk').getByTestId('line-price')).toHaveText('£3.10');
  await expect(page.getByTestId('subtotal')).toHaveText('£7.05');
  await expect(page.getByTestId('delivery')).toHaveText('£3.50');
  await expect(page.getByTestId('total')).toHaveText('£10.55');
});

test('delivery is free from £30', async ({ page }) => {
  await addToCart(page, 'House coffee beans');
  await goTo(page, 'Cart');
  await expect(page.getByText('£21.25 more and delivery is free.')).toBeVisible();
  const more = page.getByTestId('line-coffee').getByRole('button', { name: 'One more' });
  await test.step('three are £26.25: still to pay', async () => {
    await more.click();
    await more.click();
    await expect(page.getByTestId('delivery')).toHaveText('£3.50');
  });
  await test.step('four are £35.00: free', async () => {
    await more.click();
    await expect(page.getByTestId('delivery')).toHaveText('£0.00');
    await expect(page.getByTestId('total')).toHaveText('£35.00');
  });
});

test('removing the last line leaves an empty cart', async ({ page }) => {
  await addToCart(page, 'Cinnamon buns', 'City honey');
  await goTo(page, 'Cart');
  await page.getByRole('button', { name: 'Remove Cinnamon buns' }).click();
  await expect(page.getByRole('list', { name: 'Cart' }).getByRole('listitem')).toHaveCount(1);
  await page.getByTestId('line-honey').getByRole('button', { name: 'One less' }).click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Your cart is empty');
  await expect(page.getByTestId('cart-count')).toBeHidden();
});
