const { test, expect } = require('@playwright/test');
const { openShop, goTo } = require('./shop');

test.beforeEach(async ({ page }) => openShop(page, '/account'));

async function signIn(page, email, password) {
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

test('signs in, is greeted everywhere, signs out', async ({ page }) => {
  await signIn(page, 'Sam@example.com', 'corner-shop');
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Hello, Sam');
  await expect(page.getByText('No orders yet.')).toBeVisible();

  await goTo(page, 'Shop');
  await expect(page.getByRole('banner')).toContainText('Hello, Sam');

  await goTo(page, 'Account');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Sign in');
  await expect(page.getByRole('banner')).not.toContainText('Sam');
});

test('a wrong password is refused without saying which half was wrong', async ({ page }) => {
  await signIn(page, 'sam@example.com', 'not-the-password');
  await expect(page.getByRole('alert')).toHaveText('Email and password do not match.');
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Sign in');
});

test('an unfinished form names what is missing', async ({ page }) => {
  await signIn(page, 'sam', 'short');
  await expect(page.getByText('Enter your email address')).toBeVisible();
  await expect(page.getByText('A password has at least 8 characters')).toBeVisible();
  await expect(page.getByLabel('Email')).toBeFocused();
});
