// VitePress's own theme with the colours and tables of site.css.
import DefaultTheme from "vitepress/theme";
import "./site.css";

export default DefaultTheme;
