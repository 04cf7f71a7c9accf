// The token of whoever looks, for as long as this tab is open. It is kept nowhere else, and sent to the API alone.

const KEY = "understudy.token";

/** The token; empty where none was given. */
export function token() {
  return sessionStorage.getItem(KEY) ?? "";
}

/** Use a token from now on. */
export function remember(given) {
  sessionStorage.setItem(KEY, given);
}

/** Have no token any more. */
export function forget() {
  sessionStorage.removeItem(KEY);
}
