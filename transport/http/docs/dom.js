// Elements of the page.

/** Makes an element; children are elements or texts. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== undefined));
  return element;
}

/** Returns the element with this id. */
export const byId = (id) => document.getElementById(id);

/** Credentials that the reader has entered. They are kept on this page only. */
export const credentials = {
  get token() { return byId("token").value.trim(); },
  get acting() { return byId("acting").value.trim(); },
};
